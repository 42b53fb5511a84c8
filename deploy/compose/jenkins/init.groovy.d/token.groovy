// Configuration as Code has no API tokens: this gives the guard's user the one of the
// secret, so that the guard and the story can log in from the first start on. Another
// token in .env counts for a new volume.
import hudson.model.User
import jenkins.security.ApiTokenProperty

def secret = new File('/run/secrets/jenkins_token')
def user = User.getById('gatewarden', true)
def property = user.getProperty(ApiTokenProperty)
if (property == null) {
  property = new ApiTokenProperty()
  user.addProperty(property)
}
if (!property.tokenList.any { it.name == 'lab' }) {
  property.addFixedNewToken('lab', secret.text.trim())
  user.save()
}
